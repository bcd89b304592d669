"""Speed, measured against the limit of the machine and against what users would write instead."""
