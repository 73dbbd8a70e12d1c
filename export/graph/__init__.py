"""export/graph"""
