"""OpenVINO on the graph that optimum exports."""
