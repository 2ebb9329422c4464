"""The kernels against what people use today: `make bench-kernels`."""
