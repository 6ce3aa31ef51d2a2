"""Programs that the engine's own Python runs in place of its scripts. Easel never imports them."""
