// The page of drawing that every picture is made of.
#include "tests/catch.h"
#include "viz/drawing/svg.h"

using namespace pictor;

TEST_CASE("words of an SVG are text, in its title too", "[svg]")
{
    SvgPage page(10, 10, "<b>title & more");
    page.text(0, 0, "</text><script>alert(1)</script>");
    page.image(0, 0, 5, 5, Raster(2, 2), "<i>picture");
    const std::string svg = page.finish();
    CHECK_THAT(svg, ContainsSubstring("<title>&lt;b&gt;title &amp; more</title>"));
    CHECK_THAT(svg, ContainsSubstring("&lt;/text&gt;&lt;script&gt;"));
    CHECK_THAT(svg, ContainsSubstring("<title>&lt;i&gt;picture</title>"));
    CHECK_THAT(svg, !ContainsSubstring("<script"));
}
