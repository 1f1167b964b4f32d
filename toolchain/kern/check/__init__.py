"""From the AST to the typed tree: names, types, conversions, lowering."""
