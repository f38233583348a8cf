"""The room that shows: a State in, text or HTML out; no decision is taken here."""
