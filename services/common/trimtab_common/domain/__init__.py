"""The nouns and rules of Trimtab. Imports the standard library and numpy only."""
