"""The strategies: one folder each, with parameters, code and a page of documentation."""
