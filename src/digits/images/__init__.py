"""How a picture becomes a 28 × 28 glyph, and what can be measured of it."""
