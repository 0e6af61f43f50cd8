"""The language of all layers: data types, expressions, statements, analysis, printing, errors, targets."""
