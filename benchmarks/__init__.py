"""The course's code against textbook loops, both in one run: ``python -m benchmarks.measures``."""
