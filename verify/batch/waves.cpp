// What a driver records of a design: a window of cycles as VCD, handed over in pieces. It comes before the driver where
// a model is built with waveforms. Cycle c has the times 2c, settled before its clock edge, and 2c + 1, after that.
#include <cstdint>
#include <memory>
#include <string>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_vcd_c.h"

#define TETRIT_WAVES 1

namespace {

using Sink = void (*)(const char* text, int64_t bytes);

class Pipe : public VerilatedVcdFile {
public:
    Sink sink = nullptr;
    bool open(const std::string&) override { return true; }
    void close() override {}
    ssize_t write(const char* text, ssize_t bytes) override {
        sink(text, bytes);
        return bytes;
    }
};

class Waves {
    Pipe pipe;
    std::unique_ptr<VerilatedVcdC> trace;
    int64_t first = 0, end = 0;

    void dump(int64_t cycle, int half) {
        if (!trace || cycle < first || cycle >= end) return;
        if (!trace->isOpen()) trace->open("");
        trace->dump(static_cast<uint64_t>(2 * cycle + half));
    }

public:
    void begin(Vtop& top, Sink sink, int64_t from, int64_t to) {
        pipe.sink = sink;
        first = from;
        end = to;
        trace = std::make_unique<VerilatedVcdC>(&pipe);
        top.trace(trace.get(), 99);
    }
    void settled(int64_t cycle) { dump(cycle, 0); }
    void risen(int64_t cycle) { dump(cycle, 1); }
    void close() {
        if (trace) trace->close();
    }
};

}  // namespace
