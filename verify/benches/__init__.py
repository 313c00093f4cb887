"""cocotb benches: modules that run inside the simulator, fed and read through arrays by `tetrit.verify.simulate`."""
