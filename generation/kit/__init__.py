"""Stimuli for studies: people, each with several emotions at several intensities, described for who will use them."""
