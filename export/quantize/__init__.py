"""INT8: calibration ranges, outliers, GPTQ."""
