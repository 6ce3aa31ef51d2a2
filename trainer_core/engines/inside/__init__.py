"""Programs that the engine's own Python runs, shared by engines of one author. They import nothing of Easel, which does not import them."""
