"""From where on a trial's figures are doubted."""

# Above this share of a core the generator's own queue shows in the latencies (measured: at 93 %
# the median was eleven times that at 60 %).
GENERATOR_BUSY = 80.0
GENERATOR_LATE = 10.0  # ms: a 100 ms timer in locust's hub that is later than this at its p99
RATE_MISSED = 0.97  # share of the rate asked for
OTHERS_BUSY = 15.0  # percent of a core used by processes that are not part of the comparison
STOLEN = 2.0  # percent of a core that the hypervisor gave to others
