// A tensor on its way to the disk.
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "trace/recording/entry.h"
#include "trace/recording/writer_state.h"

namespace pictor {

template <typename Number> void RecordedRows::State::append(const Number* values, std::int64_t count)
{
    if (std::is_integral_v<Number> != (dtype == "I64"))
        throw std::runtime_error(fmt::format("recorded tensor {}: is {}, got {}", name, dtype,
                                             std::is_integral_v<Number> ? "whole numbers" : "floats"));
    if (count < 0 || count > size - position)
        throw std::runtime_error(
            fmt::format("recorded tensor {}: has {} numbers, got {} or more", name, size, position + count));
    statistics.add(values, count);
    if (file && next_kept < position + count) {
        const std::int64_t n_kept = (position + count - next_kept + stride - 1) / stride;
        writer->numbers.write<Number>(
            {values + (next_kept - position), n_kept, stride, kept_so_far, per_line}, *file);
        kept_so_far += n_kept;
        next_kept += n_kept * stride;
    }
    if (npy)
        npy->write({reinterpret_cast<const char*>(values), static_cast<std::size_t>(count) * sizeof(Number)});
    position += count;
}

void RecordedRows::State::finish()
{
    if (position != size)
        throw std::runtime_error(
            fmt::format("recorded tensor {}: has {} numbers, got only {}", name, size, position));
    const std::string statistics_text = statistics_json(statistics.result());
    if (file) {
        file->write(fmt::format("\n], \"statistics\": {}}}\n", statistics_text));
        file->close();
    }
    if (npy)
        npy->close();
    writer->entries[entry] = entry_start + "\"statistics\": " + statistics_text + entry_end;
}

RecordedRows::RecordedRows() = default;
RecordedRows::RecordedRows(RecordedRows&&) noexcept = default;

RecordedRows& RecordedRows::operator=(RecordedRows&& other) noexcept
{
    if (this != &other) {
        RecordedRows completed(std::move(*this));  // its destructor completes the tensor
        state_ = std::move(other.state_);
    }
    return *this;
}

RecordedRows::~RecordedRows()
{
    if (!state_)
        return;
    try {
        finish();
    } catch (const std::exception&) {
        // A destructor cannot throw. The writer has kept the message and TraceWriter::finish throws it.
    }
}

std::int64_t RecordedRows::size() const { return state_ ? state_->size : 0; }
RecordedRows::operator bool() const { return state_ != nullptr; }

void RecordedRows::append(const float* values, std::int64_t count)
{
    if (state_)
        state_->append(values, count);
}

void RecordedRows::append(const std::int64_t* values, std::int64_t count)
{
    if (state_)
        state_->append(values, count);
}

void RecordedRows::finish()
{
    if (!state_)
        return;
    const std::unique_ptr<State> state = std::move(state_);
    --state->writer->open_tensors;
    try {
        state->finish();
    } catch (const std::exception& error) {
        if (state->writer->failure.empty())
            state->writer->failure = error.what();
        throw;
    }
}

}  // namespace pictor
