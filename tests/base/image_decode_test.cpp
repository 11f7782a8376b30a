#include "base/image_decode.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/catch.h"

using namespace pictor;
namespace fs = std::filesystem;

namespace {

const fs::path golden = "golden/picture";

// A folder of its own that goes when the test ends.
struct TemporaryFolder {
    fs::path path = fs::temp_directory_path() / fmt::format("pictor-decode-test-{}", getpid());
    TemporaryFolder() { fs::create_directories(path); }
    ~TemporaryFolder() { fs::remove_all(path); }
    fs::path write(const std::string& name, const std::string& bytes) const
    {
        std::ofstream(path / name, std::ios::binary) << bytes;
        return path / name;
    }
};

std::string file_bytes(const fs::path& file)
{
    std::ifstream stream(file, std::ios::binary);
    REQUIRE(stream);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// The message of the error that decoding ends with; empty when it does not.
std::string refusal(const fs::path& file)
{
    try {
        decode_image(file);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

std::array<int, 3> rgb(const Image& picture, std::int64_t row, std::int64_t column)
{
    const std::uint8_t* pixel = picture.pixel(row, column);
    return {pixel[0], pixel[1], pixel[2]};
}

void put_big_endian(std::string& bytes, std::size_t position, std::uint32_t value)
{
    for (std::size_t i = 0; i < 4; ++i)
        bytes[position + i] = static_cast<char>(value >> (24 - 8 * i));
}

// The checksum at the end of a PNG chunk, bit by bit.
std::uint32_t crc32(const std::string& bytes)
{
    std::uint32_t crc = ~0u;
    for (char byte : bytes) {
        crc ^= static_cast<std::uint8_t>(byte);
        for (int bit = 0; bit < 8; ++bit)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

// A PNG whose header claims another size, with a checksum that fits.
std::string png_claiming(std::uint32_t height, std::uint32_t width)
{
    std::string bytes = file_bytes(golden / "gray.png");
    put_big_endian(bytes, 16, width);
    put_big_endian(bytes, 20, height);
    put_big_endian(bytes, 29, crc32(bytes.substr(12, 17)));
    return bytes;
}

std::string png_chunk(const std::string& type, const std::string& data)
{
    std::string bytes(4, '\0');
    put_big_endian(bytes, 0, static_cast<std::uint32_t>(data.size()));
    bytes += type + data + std::string(4, '\0');
    put_big_endian(bytes, bytes.size() - 4, crc32(type + data));
    return bytes;
}

// At least so many zeros in the form that a PNG has them, zlib's: one literal, then runs of 258, in the fixed
// Huffman code of deflate (RFC 1951, section 3.2.6).
std::string packed_zeros(std::size_t count)
{
    std::string bytes("\x78\x01");
    unsigned held = 0, n_held = 0;
    const auto put = [&](unsigned bits, unsigned n_bits) {  // bits of a code come highest first
        for (unsigned i = n_bits; i-- > 0;) {
            held |= (bits >> i & 1) << n_held;
            if (++n_held == 8) {
                bytes += static_cast<char>(held);
                held = n_held = 0;
            }
        }
    };
    put(0b110, 3);       // the last block, fixed codes
    put(0b00110000, 8);  // the literal 0
    for (std::size_t at = 1; at < count; at += 258) {
        put(0b11000101, 8);  // a run of 258
        put(0b00000, 5);     // of what stands one byte back
    }
    put(0, 7);  // the end of the block
    put(0, 7);  // fills the last byte
    return bytes + std::string(4, '\0');
}

std::string png_of_one_pixel(std::size_t n_unpacked)
{
    const std::string header("\0\0\0\1\0\0\0\1\x08\2\0\0\0", 13);  // 1 x 1, RGB of 8 bits
    return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", packed_zeros(n_unpacked)) +
           png_chunk("IEND", "");
}

}  // namespace

TEST_CASE("decode reads every kind of file to the size it has")
{
    const auto expected = nlohmann::json::parse(file_bytes(golden / "expected.json"));
    REQUIRE(expected["cases"].size() >= 60);
    for (const auto& entry : expected["cases"]) {
        INFO(entry["name"]);
        const Image picture = decode_image(golden / entry["file"].get<std::string>());
        CHECK(picture.height == entry["size"][0].get<std::int64_t>());
        CHECK(picture.width == entry["size"][1].get<std::int64_t>());
        CHECK(picture.rgb.size() == static_cast<std::size_t>(picture.height * picture.width * 3));
    }
}

TEST_CASE("TRAP gray_16_bit: 16-bit gray is clipped at 255", "[trap]")
{
    const Image picture =
        decode_image(golden / "gray-16-bit.png");  // its pixels count up to 699, again and again
    for (std::int64_t i = 0; i < picture.height * picture.width; ++i) {
        const int value = static_cast<int>(std::min<std::int64_t>(i % 700, 255));
        REQUIRE(rgb(picture, i / picture.width, i % picture.width) == std::array{value, value, value});
    }
}

TEST_CASE("TRAP transparent_pixels: alpha is composited on white", "[trap]")
{
    const Image picture = decode_image(golden / "gray-alpha-every-pair.png");  // row = gray, column = alpha
    REQUIRE(picture.height == 256);
    for (int gray = 0; gray < 256; ++gray) {
        CHECK(rgb(picture, gray, 0) == std::array{255, 255, 255});
        CHECK(rgb(picture, gray, 255) == std::array{gray, gray, gray});
        for (int alpha = 0; alpha < 256; ++alpha)
            REQUIRE(std::abs(rgb(picture, gray, alpha)[0] - (gray * alpha + 255 * (255 - alpha)) / 255.0) <=
                    0.51);
    }
}

TEST_CASE("TRAP png_transparent_colour: compared with the low byte, as Pillow does", "[trap]")
{
    // The file declares (0x1234, 0xFEFF, 0x0000) transparent. Its first 20 rows are (0x3400, 0xFF00, 0x0000):
    // another colour by the letter of PNG, but the high bytes (34, FF, 00) meet the low bytes (34, FF, 00).
    const Image picture = decode_image(golden / "rgb-16-bit-transparent.png");
    CHECK(rgb(picture, 0, 0) == std::array{255, 255, 255});
    CHECK(rgb(picture, 19, 149) == std::array{255, 255, 255});
    CHECK(rgb(picture, 20, 0) != std::array{255, 255, 255});
    // 4 bits: value 0 is declared and hidden; 2 bits: value 1 is declared, but widened to 85, and stays.
    const Image four = decode_image(golden / "gray-4-bit-transparent.png");
    CHECK(std::count(four.rgb.begin(), four.rgb.end(), 0) == 0);
    const Image two = decode_image(golden / "gray-2-bit-transparent.png");
    CHECK(std::count(two.rgb.begin(), two.rgb.end(), 85) > 0);
}

TEST_CASE("decode paints palette entries that are not there black")
{
    const Image picture = decode_image(golden / "palette-too-short.png");  // 5 colours for 16 indices
    CHECK(std::count(picture.rgb.begin(), picture.rgb.end(), 0) > 1000);
}

TEST_CASE("decode's JPEG differs from Pillow's by rounding alone", "[jpeg]")
{
    const auto expected = nlohmann::json::parse(file_bytes(golden / "expected.json"));
    REQUIRE(expected["jpegs"].size() >= 5);
    for (const auto& entry : expected["jpegs"]) {
        const std::string name = entry["file"];
        const Image ours = decode_image(golden / name),
                    pillow = decode_image(golden / entry["decoded"].get<std::string>());
        REQUIRE(ours.height == pillow.height);
        REQUIRE(ours.width == pillow.width);
        double sum = 0;
        int largest = 0, largest_beside_edge = 0;
        for (std::int64_t row = 0; row < ours.height; ++row)
            for (std::int64_t column = 0; column < ours.width; ++column)
                for (std::size_t colour = 0; colour < 3; ++colour) {
                    const int difference =
                        std::abs(rgb(ours, row, column)[colour] - rgb(pillow, row, column)[colour]);
                    sum += difference;
                    int& most = column >= ours.width - 2 ? largest_beside_edge : largest;
                    most = std::max(most, difference);
                }
        const double mean = sum / static_cast<double>(ours.rgb.size());
        INFO(fmt::format("{}: mean {:.4f}, largest {} (last two columns: {}) 8-bit levels", name, mean,
                         largest, largest_beside_edge));
        CHECK(largest <= 3);
        CHECK(mean <= 0.3);
        // With colour at half the width (4:2:2), stb_image weighs the last two colour samples the wrong way
        // round.
        CHECK((largest_beside_edge <= 3) == (name != "jpeg-422.jpg"));
    }
}

TEST_CASE("decode refuses what is not a picture, and says what it is")
{
    const TemporaryFolder folder;
    CHECK_THAT(refusal(folder.path / "none.png"),
               ContainsSubstring("none.png: no such file; wanted a picture"));
    CHECK_THAT(refusal(folder.path), ContainsSubstring("a folder"));
    CHECK_THAT(refusal("/dev/null"), ContainsSubstring("not a regular file"));
    CHECK_THAT(refusal(folder.write("empty.png", "")), ContainsSubstring("empty.png: an empty file"));
    CHECK_THAT(refusal(folder.write("text.png", "hello")), ContainsSubstring("68 65 6c 6c 6f"));
    CHECK_THAT(refusal(folder.write("riff.webp", "RIFF....WEBPVP8 ")),
               ContainsSubstring("riff.webp: a WEBP picture, which this program does not read; wanted PNG, "
                                 "JPEG, BMP or GIF"));
    const std::pair<std::string, const char*> known[]{{{"II*\0....", 8}, "a TIFF picture"},
                                                      {{"MM\0*....", 8}, "a TIFF picture"},
                                                      {{"\0\0\0\x18"
                                                        "ftypheic....",
                                                        16},
                                                       "a HEIC picture"},
                                                      {{"\0\0\0\x18"
                                                        "ftypavif....",
                                                        16},
                                                       "an AVIF picture"},
                                                      {{"\0\0\0\x18"
                                                        "ftypisom....",
                                                        16},
                                                       "film"},
                                                      {"\xFF\x0A....", "a JPEG XL picture"},
                                                      {"%PDF-1.7", "a PDF document"},
                                                      {"<!DOCTYPE html><title>", "a web page"}};
    for (const auto& [bytes, kind] : known)
        CHECK_THAT(refusal(folder.write("known.bin", bytes)),
                   ContainsSubstring(kind) && ContainsSubstring("PNG, JPEG, BMP or GIF"));
    CHECK_THAT(refusal(folder.write("mark.png", "\x89PNG\r\n\x1a\n")), ContainsSubstring("truncated PNG"));
    CHECK_THAT(refusal(folder.write("mark.gif", "GIF89a")), ContainsSubstring("truncated GIF"));
    CHECK_THAT(refusal(folder.write("mark.bmp", "BM")), ContainsSubstring("truncated BMP"));
    CHECK_THAT(refusal(folder.write("mark.jpg", "\xFF\xD8\xFF")), ContainsSubstring("truncated JPEG"));
    const std::string nothing_inside = "\xFF\xD8\xFF\xD9";
    CHECK_THAT(refusal(folder.write("nothing.jpg", nothing_inside)), ContainsSubstring("damaged"));
    if (geteuid() != 0) {
        const fs::path secret = folder.write("secret.png", file_bytes(golden / "gray.png"));
        fs::permissions(secret, fs::perms::none);
        CHECK_THAT(refusal(secret), ContainsSubstring("cannot be read"));
    } else {
        WARN("unreadable file not tried: the superuser reads every file");
    }
}

TEST_CASE("decode refuses sizes beyond its limits before it unpacks anything")
{
    const TemporaryFolder folder;
    CHECK_THAT(refusal(folder.write("wide.png", png_claiming(1, 65501))),
               ContainsSubstring("1 pixels high and 65501 wide"));
    CHECK_THAT(refusal(folder.write("high.png", png_claiming(4'000'000'000u, 1))),
               ContainsSubstring("sides of at most 65500"));
    CHECK_THAT(refusal(folder.write("huge.png", png_claiming(10001, 10000))),
               ContainsSubstring("100000000 pixels in all"));
    CHECK_THAT(refusal(folder.write("zero.png", png_claiming(0, 10))),
               ContainsSubstring("at least one pixel"));
    CHECK_THAT(refusal(folder.write("more.png", png_claiming(2000, 2000))),
               ContainsSubstring("damaged"));  // than there is

    std::string bmp = file_bytes(golden / "bmp-24-bit.bmp");
    bmp[24] = 1;  // 65,536 rows more
    CHECK_THAT(refusal(folder.write("high.bmp", bmp)), ContainsSubstring("sides of at most 65500"));
    std::string gif = file_bytes(golden / "gif.gif");
    for (std::size_t i = 6; i < 10; ++i)
        gif[i] = '\xFF';
    CHECK_THAT(refusal(folder.write("huge.gif", gif)), ContainsSubstring("65535 pixels high"));
}

TEST_CASE("decode refuses a PNG of one pixel that unpacks to sixty million bytes")
{
    const TemporaryFolder folder;
    const std::string path = folder.write("small.png", png_of_one_pixel(10)).string();
    CHECK_NOTHROW(decode_image(path));
    const std::string bomb = refusal(folder.write("bomb.png", png_of_one_pixel(60'000'000)));
    CHECK_THAT(bomb, ContainsSubstring("bomb.png") && ContainsSubstring("outofmem"));  // stb_image's word
}

TEST_CASE("decode refuses a PNG whose checksums do not fit")
{
    const TemporaryFolder folder;
    std::string bytes = file_bytes(golden / "rgba.png");
    const std::size_t pixels = bytes.find("IDAT") + 100;
    bytes[pixels] = static_cast<char>(bytes[pixels] ^ 1);
    CHECK_THAT(refusal(folder.write("flipped.png", bytes)), ContainsSubstring("checksum of the IDAT chunk"));
}

TEST_CASE("decode refuses every truncated file")
{
    const TemporaryFolder folder;
    const std::map<std::string, std::size_t> files = {
        // and how many bytes at the end may be missing
        {"palette-transparent.png", 0}, {"gray-4-bit.png", 0}, {"jpeg-gray.jpg", 0},
        {"jpeg-progressive.jpg", 0},    {"bmp-24-bit.bmp", 0}, {"gif-transparent.gif", 1}};
    for (const auto& [name, spare] : files) {
        const std::string bytes = file_bytes(golden / name);
        REQUIRE(refusal(golden / name).empty());
        for (std::size_t size = 1; size + spare < bytes.size(); size += 1 + size / 23) {
            INFO(name << " cut to " << size << " of " << bytes.size() << " bytes");
            REQUIRE_FALSE(refusal(folder.write("cut", bytes.substr(0, size))).empty());
        }
        if (spare == 0)
            CHECK_FALSE(refusal(folder.write("cut", bytes.substr(0, bytes.size() - 1))).empty());
    }
}

TEST_CASE("decode survives damaged files: a picture or an error, nothing else")
{
    const TemporaryFolder folder;
    std::uint32_t random = 12345;
    const auto next = [&random] { return random = random * 1664525u + 1013904223u, random >> 8; };
    for (const char* name :
         {"jpeg-gray.jpg", "jpeg-progressive.jpg", "gif.gif", "bmp-24-bit.bmp", "gray-4-bit.png"}) {
        const std::string whole = file_bytes(golden / name);
        int n_refused = 0;
        for (int round = 0; round < 60; ++round) {
            std::string bytes = whole;
            for (int flips = 0; flips < 3; ++flips)
                bytes[next() % (round % 2 ? bytes.size() : std::min<std::size_t>(bytes.size(), 200))] =
                    static_cast<char>(next());
            const fs::path file = folder.write("damaged", bytes);
            try {
                const Image picture = decode_image(file);
                REQUIRE(picture.rgb.size() == static_cast<std::size_t>(picture.height * picture.width * 3));
            } catch (const std::runtime_error& error) {
                ++n_refused;
                REQUIRE_THAT(error.what(), ContainsSubstring("wanted"));
            }
        }
        CHECK(n_refused > 0);
    }
}
