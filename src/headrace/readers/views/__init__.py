"""Views: readers whose samples are those of other sources, chosen, joined or cut into windows."""
