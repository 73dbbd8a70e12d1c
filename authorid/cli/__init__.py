"""authorid/cli"""
