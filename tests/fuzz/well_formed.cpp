#include "tests/fuzz/well_formed.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/utf8.h"

namespace pictor_fuzz {

namespace {

[[noreturn]] void fault(std::string_view what, std::string_view text, std::size_t place)
{
    throw std::logic_error(
        fmt::format("{} at {}: {}", what, place, text.substr(place, std::min<std::size_t>(60, text.size()))));
}

bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == ':' || c == '.';
}

// The reader's place in the markup.
struct Cursor {
    std::string_view text;
    std::size_t place = 0;

    bool at_end() const { return place >= text.size(); }
    char here() const { return at_end() ? '\0' : text[place]; }
    bool skip(std::string_view wanted)
    {
        if (text.substr(place, wanted.size()) != wanted)
            return false;
        place += wanted.size();
        return true;
    }
    void skip_past(std::string_view wanted)
    {
        const std::size_t found = text.find(wanted, place);
        if (found == std::string_view::npos)
            fault(fmt::format("no {}", wanted), text, place);
        place = found + wanted.size();
    }
    void skip_blanks()
    {
        while (here() == ' ' || here() == '\n' || here() == '\t' || here() == '\r')
            ++place;
    }
    std::string_view name()
    {
        const std::size_t first = place;
        while (is_name(here()))
            ++place;
        if (place == first)
            fault("no name", text, place);
        return text.substr(first, place - first);
    }
};

void check_reference(Cursor& cursor)
{
    const std::size_t end = cursor.text.find(';', cursor.place);
    if (end == std::string_view::npos || end - cursor.place > 10 || end == cursor.place + 1)
        fault("an & that begins no character reference", cursor.text, cursor.place);
    cursor.place = end + 1;
}

void check_attributes(Cursor& cursor)
{
    std::vector<std::string_view> names;
    for (cursor.skip_blanks(); is_name(cursor.here()); cursor.skip_blanks()) {
        const std::size_t place = cursor.place;
        names.push_back(cursor.name());
        if (std::count(names.begin(), names.end(), names.back()) > 1)
            fault("an attribute twice", cursor.text, place);
        const char quote = cursor.skip("=\"") ? '"' : cursor.skip("='") ? '\'' : '\0';
        if (quote == '\0')
            fault("an attribute without a quoted value", cursor.text, place);
        while (cursor.here() != quote) {
            if (cursor.at_end() || cursor.here() == '<')
                fault("an attribute that does not end", cursor.text, place);
            if (cursor.here() == '&')
                check_reference(cursor);
            else
                ++cursor.place;
        }
        ++cursor.place;
    }
}

void check_tag(Cursor& cursor, std::vector<std::string_view>& open)
{
    const std::size_t place = cursor.place - 1;
    if (cursor.skip("?"))
        return cursor.skip_past("?>");
    if (cursor.skip("!--"))
        return cursor.skip_past("-->");
    if (cursor.skip("!DOCTYPE"))
        return cursor.skip_past(">");
    if (cursor.skip("/")) {
        const std::string_view name = cursor.name();
        if (open.empty() || open.back() != name || !cursor.skip(">"))
            fault("an end tag of another element", cursor.text, place);
        open.pop_back();
        return;
    }
    const std::string_view name = cursor.name();
    check_attributes(cursor);
    if (cursor.skip("/>"))
        return;
    if (!cursor.skip(">"))
        fault("a tag that does not end", cursor.text, place);
    open.push_back(name);
}

std::size_t count(std::string_view text, std::string_view wanted)
{
    std::size_t found = 0;
    for (std::size_t place = text.find(wanted); place != std::string_view::npos;
         place = text.find(wanted, place + 1))
        ++found;
    return found;
}

}  // namespace

void require_well_formed(std::string_view xml)
{
    if (pictor::valid_utf8(xml) != xml)
        throw std::logic_error("markup that is not UTF-8");
    Cursor cursor{xml};
    std::vector<std::string_view> open;
    while (!cursor.at_end()) {
        const char c = cursor.here();
        if (c == '<') {
            ++cursor.place;
            check_tag(cursor, open);
        } else if (c == '&') {
            check_reference(cursor);
        } else {
            if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r')
                fault("a control character", xml, cursor.place);
            ++cursor.place;
        }
    }
    if (!open.empty())
        throw std::logic_error(fmt::format("<{}> is not closed", open.back()));
}

void require_whole_page(std::string_view html)
{
    // A browser ends a script at the first "</script", wherever it stands, and "<!--" in it changes how.
    const std::size_t begins = count(html, "<script"), ends = count(html, "</script");
    if (begins != ends || begins > 2)
        throw std::logic_error(fmt::format("{} scripts begin, {} end", begins, ends));
    if (count(html, "</html>") != 1 || !html.ends_with("</html>\n"))
        throw std::logic_error("the page does not end where it should");
    if (pictor::valid_utf8(html) != html)
        throw std::logic_error("a page that is not UTF-8");
}

void require_no_controls(std::string_view text)
{
    for (const char c : text)
        if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            throw std::logic_error(fmt::format("control character {} for a terminal", static_cast<int>(c)));
}

}  // namespace pictor_fuzz
