"""Evaluation: metrics, the evaluation report, plots."""
