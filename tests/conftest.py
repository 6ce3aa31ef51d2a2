"""What holds for all tests: how hypothesis tries things."""

from hypothesis import HealthCheck, settings

# A slow or busy machine is no fault: nothing that hypothesis tries is held against a clock.
settings.register_profile("easel", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# A run that decides over a change tries the same examples each time; anybody else's goes on searching.
settings.register_profile("same", settings.get_profile("easel"), derandomize=True, database=None)
settings.load_profile("easel")
