"""Settings of trainings that take seconds."""

#: Keys of the transition density for a model that need not be good.
SMALL_MODEL = {
    "start_states": 64,
    "history_records": 20,
    "calibration_ions": 16,
    "calibration_burn_in": 20,
    "calibration_records": 50,
}
