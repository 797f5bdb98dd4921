"""The compute model's plug-in: how Nova and Placement become rows and changes."""
