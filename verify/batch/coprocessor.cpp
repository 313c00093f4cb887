// The bus partners of `MatmulCoprocessor` in C++: an AXI4 memory and an AXI4-Lite master, one call per transfer.
//
// What is compiled begins with a definition of TETRIT_BUS_BYTES and of TETRIT_QUIET(top), which sets every input to 0;
// with waveforms, `waves.cpp` comes before.
// A cycle: inputs are applied, outputs settle, transfers are noted, the clock rises. Read bursts are served in order.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr uint64_t kBytes = TETRIT_BUS_BYTES;
enum Channel { kAr, kR, kAw, kW, kB, kChannels };
constexpr int kOkay = 0, kSlaveError = 2, kDecodeError = 3;

void put(IData& port, const uint8_t* bytes) { std::memcpy(&port, bytes, 4); }
void put(QData& port, const uint8_t* bytes) { std::memcpy(&port, bytes, 8); }
template <std::size_t N>
void put(VlWide<N>& port, const uint8_t* bytes) {
    std::memcpy(&port[0], bytes, 4 * N);
}
void get(const IData& port, uint8_t* bytes) { std::memcpy(bytes, &port, 4); }
void get(const QData& port, uint8_t* bytes) { std::memcpy(bytes, &port, 8); }
template <std::size_t N>
void get(const VlWide<N>& port, uint8_t* bytes) {
    std::memcpy(bytes, &port[0], 4 * N);
}

struct Burst {
    uint64_t address;
    uint32_t beats;
    int64_t ready_at;
    int response;
};

struct Beat {
    uint8_t data[kBytes];
    uint64_t strobe;
    bool last;
};

struct Offer {  // what a master showed and was not taken
    bool open = false;
    uint64_t first = 0, second = 0;
    uint8_t data[kBytes] = {};
};

struct Failing {
    uint64_t first, end;
    int write, response;
};

struct Design {
    VerilatedContext context;
    Vtop* top;
    uint8_t* memory = nullptr;
    uint64_t size = 0;
    int64_t read_latency = 1, write_latency = 1;
    uint32_t pause[kChannels] = {};
    uint64_t random = 1;
    std::vector<Failing> failing;

    int64_t cycle = 0;
    std::deque<Burst> reads, writes;
    std::deque<Beat> beats;
    std::deque<Burst> answers;
    int64_t r_free_at = 0;
    bool r_offered = false, b_offered = false;
    Offer ar, aw, w;
    int64_t breaches = 0;
    char message[200] = {};
#ifdef TETRIT_WAVES
    Waves waves;
    std::vector<int64_t> stores;  // pairs of cycle and address
#endif

    explicit Design(int seed) {
#ifdef TETRIT_WAVES
        context.traceEverOn(true);
#endif
        context.randReset(2);
        context.randSeed(seed);
        top = new Vtop{&context, "dut"};
        TETRIT_QUIET((*top));
    }
    ~Design() {
#ifdef TETRIT_WAVES
        waves.close();
#endif
        top->final();
        delete top;
    }

    bool waits(Channel channel) {
        if (!pause[channel]) return false;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return static_cast<uint32_t>(random >> 32) < pause[channel];
    }

    void breach(const char* text, uint64_t value) {
        if (!breaches++) std::snprintf(message, sizeof message, "cycle %lld: %s (%llx)", (long long)cycle, text, (unsigned long long)value);
    }

    int response(uint64_t address, uint64_t bytes, bool write) const {
        for (const Failing& range : failing)
            if (range.write == static_cast<int>(write) && address < range.end && address + bytes > range.first) return range.response;
        return address + bytes > size || address + bytes < address ? kDecodeError : kOkay;
    }

    void hold(Offer& offer, bool valid, bool ready, uint64_t first, uint64_t second, const uint8_t* data, const char* name) {
        if (offer.open) {
            if (!valid) breach(name, 0);
            else if (offer.first != first || offer.second != second || (data && std::memcmp(offer.data, data, kBytes))) breach(name, first);
        }
        offer.open = valid && !ready;
        offer.first = first;
        offer.second = second;
        if (data) std::memcpy(offer.data, data, kBytes);
    }

    void check_burst(uint64_t address, uint64_t length, int size_code, int kind) {
        if (address % kBytes) breach("a burst begins at an address that is not a multiple of the bus", address);
        if ((1ull << size_code) != kBytes) breach("a burst's beats are not as wide as the bus", size_code);
        if (kind != 1) breach("a burst is not incrementing", kind);
        if (address / 4096 != (address + (length + 1) * kBytes - 1) / 4096) breach("a burst crosses a 4 KiB border", address);
    }

    void tick() {
        Vtop& t = *top;
        const bool ar_ready = !waits(kAr), aw_ready = !waits(kAw), w_ready = !waits(kW);
        t.m_axi_arready = ar_ready;
        t.m_axi_awready = aw_ready;
        t.m_axi_wready = w_ready;
        if (!r_offered && !reads.empty() && cycle >= reads.front().ready_at && cycle >= r_free_at) r_offered = !waits(kR);
        t.m_axi_rvalid = r_offered;
        if (r_offered) {
            const Burst& burst = reads.front();
            uint8_t data[kBytes] = {};
            const int code = response(burst.address, kBytes, false);
            if (code == kOkay) std::memcpy(data, memory + burst.address, kBytes);
            put(t.m_axi_rdata, data);
            t.m_axi_rresp = code;
            t.m_axi_rlast = burst.beats == 1;
        }
        if (!b_offered && !answers.empty() && cycle >= answers.front().ready_at) b_offered = !waits(kB);
        t.m_axi_bvalid = b_offered;
        if (b_offered) t.m_axi_bresp = answers.front().response;
        t.clk = 0;
        t.eval();
#ifdef TETRIT_WAVES
        waves.settled(cycle);
#endif
        if (!t.rst) transfers(ar_ready, aw_ready, w_ready);
        t.clk = 1;
        t.eval();
#ifdef TETRIT_WAVES
        waves.risen(cycle);
#endif
        ++cycle;
    }

    void transfers(bool ar_ready, bool aw_ready, bool w_ready) {
        Vtop& t = *top;
        if (r_offered && t.m_axi_rready) {
            Burst& burst = reads.front();
            burst.address += kBytes;
            r_offered = false;
            if (--burst.beats == 0) {
                reads.pop_front();
                r_free_at = cycle + 1;
            }
        }
        if (b_offered && t.m_axi_bready) {
            b_offered = false;
            answers.pop_front();
        }
        hold(ar, t.m_axi_arvalid, ar_ready, t.m_axi_araddr, t.m_axi_arlen, nullptr, "AR changes before it is taken");
        if (t.m_axi_arvalid && ar_ready) {
            check_burst(t.m_axi_araddr, t.m_axi_arlen, t.m_axi_arsize, t.m_axi_arburst);
            reads.push_back({t.m_axi_araddr, t.m_axi_arlen + 1u, cycle + read_latency, kOkay});
        }
        hold(aw, t.m_axi_awvalid, aw_ready, t.m_axi_awaddr, t.m_axi_awlen, nullptr, "AW changes before it is taken");
        if (t.m_axi_awvalid && aw_ready) {
            check_burst(t.m_axi_awaddr, t.m_axi_awlen, t.m_axi_awsize, t.m_axi_awburst);
            writes.push_back({t.m_axi_awaddr, t.m_axi_awlen + 1u, 0, kOkay});
        }
        Beat beat{};
        if (t.m_axi_wvalid) {
            get(t.m_axi_wdata, beat.data);
            beat.strobe = t.m_axi_wstrb;
            beat.last = t.m_axi_wlast;
        }
        hold(w, t.m_axi_wvalid, w_ready, beat.strobe, beat.last, t.m_axi_wvalid ? beat.data : nullptr, "W changes before it is taken");
        if (t.m_axi_wvalid && w_ready) beats.push_back(beat);
        while (!beats.empty() && !writes.empty()) store();
    }

    void store() {
        Burst& burst = writes.front();
        const Beat& beat = beats.front();
        const int code = response(burst.address, kBytes, true);
        if (code == kOkay) {
            for (uint64_t byte = 0; byte < kBytes; ++byte)
                if (beat.strobe >> byte & 1) memory[burst.address + byte] = beat.data[byte];
        } else {
            burst.response = code;
        }
#ifdef TETRIT_WAVES
        stores.insert(stores.end(), {cycle, static_cast<int64_t>(burst.address)});
#endif
        if (beat.last != (burst.beats == 1)) breach("WLAST is not with the burst's last beat", burst.address);
        burst.address += kBytes;
        if (--burst.beats == 0) {
            answers.push_back({0, 0, cycle + write_latency, burst.response});
            writes.pop_front();
        }
        beats.pop_front();
    }
};

}  // namespace

extern "C" {
#pragma GCC visibility push(default)

Design* tetrit_open(int seed) { return new Design(seed); }

void tetrit_close(Design* design) { delete design; }

void tetrit_memory(Design* design, uint8_t* memory, uint64_t size) {
    design->memory = memory;
    design->size = size;
}

// Latencies in cycles, and probabilities of 2**-32 with which AR, R, AW, W and B wait.
void tetrit_bus(Design* design, int64_t read_latency, int64_t write_latency, const uint32_t* pause, uint64_t seed) {
    design->read_latency = read_latency;
    design->write_latency = write_latency;
    std::memcpy(design->pause, pause, sizeof design->pause);
    design->random = seed | 1;
}

void tetrit_fail(Design* design, uint64_t first, uint64_t end, int write, int response) {
    design->failing.push_back({first, end, write, response});
}

void tetrit_reset(Design* design) {
    design->top->rst = 1;
    design->reads.clear();
    design->writes.clear();
    design->beats.clear();
    design->answers.clear();
    design->r_offered = design->b_offered = false;
    design->ar.open = design->aw.open = design->w.open = false;
    design->tick();
    design->top->rst = 0;
}

int64_t tetrit_cycle(const Design* design) { return design->cycle; }

void tetrit_step(Design* design, int64_t cycles) {
    while (cycles-- > 0) design->tick();
}

// Cycles until `irq`, or -1 after `limit` of them.
int64_t tetrit_wait(Design* design, int64_t limit) {
    for (int64_t count = 0; count < limit; ++count) {
        if (design->top->irq) return count;
        design->tick();
    }
    return design->top->irq ? limit : -1;
}

// The response, or -1 if there is none within `limit` cycles.
int tetrit_write(Design* design, uint32_t address, uint32_t value, int64_t limit) {
    Vtop& t = *design->top;
    t.s_axil_awaddr = address;
    t.s_axil_wdata = value;
    t.s_axil_wstrb = 15;
    t.s_axil_awvalid = t.s_axil_wvalid = t.s_axil_bready = 1;
    int found = -1;
    while (found < 0 && limit-- > 0) {
        // handshakes are those of the settled cycle, before its edge
        t.clk = 0;
        t.eval();
        const bool aw = t.s_axil_awvalid && t.s_axil_awready, w = t.s_axil_wvalid && t.s_axil_wready;
        if (t.s_axil_bvalid) found = t.s_axil_bresp;
        design->tick();
        if (aw) t.s_axil_awvalid = 0;
        if (w) t.s_axil_wvalid = 0;
    }
    t.s_axil_awvalid = t.s_axil_wvalid = t.s_axil_bready = 0;
    return found;
}

int tetrit_read(Design* design, uint32_t address, uint32_t* value, int64_t limit) {
    Vtop& t = *design->top;
    t.s_axil_araddr = address;
    t.s_axil_arvalid = t.s_axil_rready = 1;
    int found = -1;
    while (found < 0 && limit-- > 0) {
        t.clk = 0;
        t.eval();
        const bool ar = t.s_axil_arvalid && t.s_axil_arready;
        if (t.s_axil_rvalid) {
            found = t.s_axil_rresp;
            *value = t.s_axil_rdata;
        }
        design->tick();
        if (ar) t.s_axil_arvalid = 0;
    }
    t.s_axil_arvalid = t.s_axil_rready = 0;
    return found;
}

int64_t tetrit_breaches(const Design* design, const char** message) {
    *message = design->message;
    return design->breaches;
}

#ifdef TETRIT_WAVES
void tetrit_waves(Design* design, Sink sink, int64_t first, int64_t end) { design->waves.begin(*design->top, sink, first, end); }

void tetrit_waves_end(Design* design) { design->waves.close(); }

// How many words were stored since `tetrit_stores_clear`, and a pair of cycle and address of each.
int64_t tetrit_stores(const Design* design, const int64_t** pairs) {
    *pairs = design->stores.data();
    return static_cast<int64_t>(design->stores.size() / 2);
}

void tetrit_stores_clear(Design* design) { design->stores.clear(); }
#endif

#pragma GCC visibility pop
}  // extern "C"
