"""Speed and memory, measured beside what others do: ``python -m benchmarks``."""
