"""export/quantize"""
