#!/usr/bin/env bash
# The page's files as C++ strings: bash viz/report/page/embed.sh > report_files.cpp. The Makefile calls it.
set -eu
cd "$(dirname "$0")"
# In this order: what comes first is used by what comes later.
scripts="data.js stages.js draw.js words.js patches.js pins.js controls.js steps.js self_attention.js tensors.js
         numbers.js graphs.js terms.js tour.js start.js"

echo '#include "viz/report/report.h"'
echo
echo 'namespace pictor {'
printf '\nconst char* const report_style = R"page(\n%s)page";\n' "$(cat page.css numbers.css sticky.css)"
printf '\nconst char* const report_body = R"page(%s)page";\n' "$(cat page.html)"
printf '\nconst char* const report_script = R"page(\n"use strict";\n(() => {\n%s\n})();\n)page";\n' "$(cat $scripts)"
echo
echo '}  // namespace pictor'
