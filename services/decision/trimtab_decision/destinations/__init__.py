"""The ways of selecting destinations: the visible list (B-050). Others come by entry point."""
