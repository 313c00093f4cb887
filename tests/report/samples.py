"""Reports of realistic runs. The figures are made up."""

import math

COMPONENTS = {
    "array": ("synthesised", 0.62),
    "decoders": ("synthesised", 0.02),
    "requantiser": ("synthesised", 0.05),
    "weight memory": ("modelled", 0.06),
    "activation memory": ("modelled", 0.14),
    "accumulator memory": ("modelled", 0.09),
    "leakage": ("synthesised", 0.02),
}


def _layer(name, k, n, bound):
    m, rows, cols = 450, 16, 16
    macs = m * k * n
    ideal = macs / (rows * cols)
    tiles = math.ceil(k / rows) * math.ceil(n / cols)
    cycles = tiles * (m + rows + cols - 1) + rows
    energy = macs * 0.083 + cycles * 4.1
    return {
        "name": name,
        "m": m,
        "k": k,
        "n": n,
        "macs": macs,
        "dataflow": "weight_stationary",
        "tile_m": m,
        "tile_k": rows,
        "tile_n": cols,
        "tiles": tiles,
        "cycles": cycles,
        "ideal_cycles": ideal,
        "utilization": ideal / cycles,
        "bound": bound,
        "events": {"mac": macs, "mac_zero_weight": int(macs * 0.44), "weight_load": k * n, "requantise": m * n},
        "words": {
            "weight_read": k * n,
            "act_read": m * k * math.ceil(n / cols),
            "acc_read": m * n * 3,
            "acc_write": m * n * 4,
        },
        "bytes_moved": k * n / 4 + m * k * math.ceil(n / cols) + m * n * 7 * 3,
        "energy_pj": energy,
        "breakdown": {part: energy * share for part, (_, share) in COMPONENTS.items()},
    }


def _bench(name, component, dataflow, vectors, cycles):
    return {
        "name": name,
        "component": component,
        "dataflow": dataflow,
        "vectors": vectors,
        "mismatches": 0,
        "cycles_rtl": cycles,
        "cycles_model": cycles,
        "cases": 0 if cycles is None else 12,
        "level": "rtl",
        "passed": True,
        "message": "",
    }


def digital():
    """Three layers on a 16 x 16 array, three seeds, 450 images."""
    seeds = [0, 1, 2]
    layers = [
        _layer("fc1", 64, 128, "activations"),
        _layer("fc2", 128, 64, "compute"),
        _layer("fc3", 64, 10, "results"),
    ]
    cycles = sum(layer["cycles"] for layer in layers)
    total_pj = math.fsum(layer["energy_pj"] for layer in layers)
    per_seed = [(0.9844, 0.9756, 0.9733), (0.9800, 0.9711, 0.9711), (0.9822, 0.9689, 0.9689)]
    mean = [math.fsum(column) / 3 for column in zip(*per_seed, strict=True)]
    compared = [
        ("ste", {}, 8, 0.981),
        ("szt", {"threshold": "0.7 mean"}, 2, 0.9719),
        ("szt", {"threshold": "absmean"}, 2, 0.9704),
        ("ste_clipped", {}, 4, 0.9763),
        ("pot", {"bits": 3}, 3, 0.9741),
        ("denseshift", {}, 3, 0.9659),
    ]
    areas = {
        "array": 0.412,
        "decoders": 0.0031,
        "requantisers": 0.0384,
        "weight memory": 0.021,
        "activation memory": 0.0615,
    }
    shares = [(0.27, 0.29, 0.23, 0.21), (0.30, 0.31, 0.2, 0.19), (0.335, 0.345, 0.17, 0.15)]
    return {
        "schema": "tetrit-report/2",
        "tetrit": "0.1.0",
        "name": "digits",
        "seeds": seeds,
        "config": {
            "name": "digits",
            "seeds": seeds,
            "network": {"hidden": [128, 64], "estimator": "szt", "params": {"threshold": "0.7 mean"}},
            "train": {"epochs": 40, "learning_rate": 0.002},
            "machine": {"preset": "shift_16x16"},
        },
        "platform": {"python": "3.12.3", "numpy": "2.3.0", "machine": "x86_64"},
        "accuracy": {
            "float": mean[0],
            "quantized": mean[1],
            "machine": mean[2],
            "n_test": 450,
            "per_seed": [
                {"seed": seed, "float": f, "quantized": q, "machine": m}
                for seed, (f, q, m) in zip(seeds, per_seed, strict=True)
            ],
            "by_estimator": [
                {
                    "estimator": name,
                    "params": params,
                    "bits": bits,
                    "accuracy": value,
                    "per_seed": [value - 0.002, value + 0.003, value - 0.001],
                }
                for name, params, bits, value in compared
            ],
        },
        "training": {
            "epochs": 40,
            "history": [
                {
                    "seed": seed,
                    "epoch": epoch,
                    "loss": 2.1 * math.exp(-epoch / 7) + 0.06 + 0.01 * seed * math.sin(epoch),
                    "accuracy": 1 - 0.85 * math.exp(-epoch / 5),
                    "test_accuracy": 0.974 - 0.8 * math.exp(-epoch / 5),
                }
                for seed in seeds
                for epoch in range(1, 41)
            ],
            "weight_codes": {
                layer["name"]: dict(zip(("-1", "+1", "+0", "-0"), share, strict=True))
                for layer, share in zip(layers, shares, strict=True)
            },
        },
        "layers": layers,
        "machine": {
            "rows": 16,
            "cols": 16,
            "act_format": "int8",
            "weight_format": "szt",
            "acc_bits": 24,
            "dataflow": "weight_stationary",
            "multiplier_bits": 16,
            "clock_mhz": 100.0,
            "weight_memory": {"width_bits": 128, "bytes": 65536},
        },
        "images": 450,
        "cycles": cycles,
        "cycles_per_image": cycles / 450,
        "latency_us": cycles / 100.0,
        "clock_mhz": 100.0,
        "energy_uj": {
            "total": total_pj * 1e-6,
            "breakdown": {part: total_pj * share * 1e-6 for part, (_, share) in COMPONENTS.items()},
            "sources": {part: source for part, (source, _) in COMPONENTS.items()},
        },
        "energy_per_image_nj": total_pj * 1e-3 / 450,
        "area_mm2": {
            "total": math.fsum(areas.values()),
            "breakdown": areas,
            "sources": {part: "modelled" if "memory" in part else "synthesised" for part in areas},
        },
        "verify": {
            "vectors": 66_420,
            "mismatches": 0,
            "testbenches": [
                _bench("fc1 tile 0", "ShiftPEArray", "weight_stationary", 7200, 497),
                _bench("fc2 tile 0", "ShiftPEArray", "weight_stationary", 28800, 1940),
                _bench("fc3 tile 0", "ShiftPEArray", "output_stationary", 4500, 4821),
                {**_bench("fc3 tile 0", "ShiftPEArray", "output_stationary", 4500, 4821), "level": "gates"},
                _bench("decoder, all codes", "SZTDecoder", None, 4, None),
                _bench("requantiser", "Requantizer", None, 21416, None),
            ],
        },
        "synthesis": [
            {
                "component": "ShiftPEArray 16x16",
                "library": "sg13g2, typical, 1.20 V, 25 °C",
                "area_um2": 412345.6,
                "delay_ns": 3.42,
                "fmax_mhz": 292.4,
                "leakage_nw": 5123.0,
                "cells": {"sg13g2_dfrbp_1": 8960, "sg13g2_nand2_1": 6144, "sg13g2_xor2_1": 6100, "sg13g2_mux2_1": 4096},
                "modules": [
                    {"name": "ShiftPE", "instances": 256, "area_um2": 1502.1, "total_area_um2": 384537.6},
                    {"name": "Skew", "instances": 32, "area_um2": 771.3, "total_area_um2": 24681.6},
                    {"name": "SZTDecoder", "instances": 16, "area_um2": 12.7, "total_area_um2": 203.2},
                    {"name": "Control", "instances": 1, "area_um2": 2923.2, "total_area_um2": 2923.2},
                ],
                "critical_path": [
                    "act_reg/Q (sg13g2_dfrbp_1) 0.21 ns",
                    "add/c4 (sg13g2_nand2_1) 0.74 ns",
                    "acc_reg/D 3.42 ns",
                ],
            },
            {
                "component": "SZTDecoder",
                "library": "sg13g2, typical, 1.20 V, 25 °C",
                "area_um2": 12.7,
                "delay_ns": 0.11,
                "fmax_mhz": 9090.9,
                "leakage_nw": 0.4,
                "cells": {"sg13g2_and2_1": 1, "sg13g2_nor2b_1": 1},
                "modules": [],
                "critical_path": [],
            },
        ],
        "szt_vs_ternary": {
            "szt_array_um2": 412345.6,
            "ternary_array_um2": 412286.1,
            "szt_decoder_um2": 12.7,
            "ternary_decoder_um2": 9.0,
            "datapath_szt_um2": 412142.4,
            "datapath_ternary_um2": 412142.4,
        },
        "roofline": {
            "peak_macs_per_cycle": 256.0,
            "bandwidth_bytes_per_cycle": 112.0,
            "points": [
                {
                    "name": layer["name"],
                    "intensity_macs_per_byte": layer["macs"] / layer["bytes_moved"],
                    "macs_per_cycle": layer["macs"] / layer["cycles"],
                }
                for layer in layers
            ],
        },
        "assumptions": [
            {
                "id": "wire-load",
                "text": "Wires add a fanout-based load; there is no placement.",
                "source": "our assumption",
            },
            {
                "id": "sram-energy",
                "text": "Energy of a memory word grows with its width.",
                "source": "CACTI 7, table 3",
            },
        ],
        "sources": [
            "IHP SG13G2 open PDK, typical corner",
            "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998",
        ],
        "timings": {
            "started": "2026-01-31T12:00:00+00:00",
            "seconds": {"load": 0.4, "train": 41.2, "simulate": 1.1, "verify": 38.0, "synthesise": 22.9, "report": 1.8},
            "testbench_seconds": {"fc1 tile 0": 3.1},
        },
    }


def _row(name, network, values):
    mean = sum(values) / len(values)
    std = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5 if len(values) > 1 else 0.0
    return {"name": name, "network": network, "mean": mean, "std": std, "per_chip": values}


def point(time_s, values):
    row = _row("", "", values)
    return {"time_s": time_s, **{key: row[key] for key in ("mean", "std", "per_chip")}}


def _crossbar_layer(name, k, n):
    parts = {"DAC": 4000.0, "drivers": 0.0, "cells": 120.0, "ADC": 2600.0, "shift and add": 15.0}
    return {
        "name": name,
        "m": 450,
        "k": k,
        "n": n,
        "arrays": 2,
        "cycles": 450 * 65 + 1,
        "utilization": 0.25,
        "bound": "converters",
        "events": {"cycles": 29251, "adc_conversion": 57600, "adc_clipped": 9},
        "clipped": 0.00015625,
        "energy_pj": sum(parts.values()),
        "breakdown": parts,
    }


def crossbar():
    """The block of a crossbar for `digital`, with two chips."""
    layers = [_crossbar_layer("fc1", 64, 128), _crossbar_layer("fc2", 128, 64), _crossbar_layer("fc3", 64, 10)]
    parts = {part: 3 * pj * 1e-6 for part, pj in layers[0]["breakdown"].items()}
    times = [1.0, 86400.0, 31536000.0]
    return {
        "machine": {
            "kind": "crossbar",
            "rows": 256,
            "cols": 256,
            "device": {"name": "pcm"},
            "mapping": "differential",
            "bits_per_cell": 1,
            "dac_bits": 8,
            "adc_bits": 8,
            "adc": {"range": "calibrated"},
        },
        "chips": 2,
        "seed": 4,
        "calibration_images": 256,
        "accuracy": [
            _row("perfect", "plain", [0.9733]),
            _row("converters", "plain", [0.9711]),
            _row("wires", "plain", [0.96]),
            _row("chips", "plain", [0.94, 0.95]),
            _row("chips", "control", [0.951, 0.955]),
            _row("chips", "noise_aware", [0.961, 0.965]),
        ],
        "drift": [
            {
                "network": network,
                "compensation": compensation,
                "points": [point(t, [0.96 - 0.03 * i, 0.95 - 0.04 * i]) for i, t in enumerate(times)],
            }
            for network in ("plain", "control", "noise_aware")
            for compensation in ("none", "global")
        ],
        "layers": layers,
        "weights": [
            {
                "name": layer["name"],
                "wires_rms": 0.12,
                "chip_rms": 0.15,
                "map": [[0.01 * (i + j) for j in range(10)] for i in range(16)],
                "inputs_per_block": 4,
                "outputs_per_block": 1,
            }
            for layer in layers
        ],
        "cycles": 3 * 29251,
        "cycles_per_image": 3 * 29251 / 450,
        "clock_mhz": 100.0,
        "latency_us": 3 * 292.51,
        "energy_uj": {"total": sum(parts.values()), "breakdown": parts, "sources": dict.fromkeys(parts, "modelled")},
        "energy_per_image_nj": 1000 * sum(parts.values()) / 450,
        "noise_aware": {
            "epochs": 20,
            "batch": 64,
            "rate": 0.001,
            "redraw": "batch",
            "accuracy": 0.97,
            "history": [0.6, 0.5],
            "control": {"accuracy": 0.9755, "history": [0.4, 0.3]},
        },
    }
