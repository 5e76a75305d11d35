"""Settings: names, sources, trust and editing. No name is exported here: TAB loads only `paths`."""
