"""export/sources"""
