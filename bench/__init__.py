"""Measurement: real models and their inputs, load scenarios, statistics, reports."""
