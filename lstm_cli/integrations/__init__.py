"""lstmcls inside other systems that process data. Each file needs its system, which is an extra."""
