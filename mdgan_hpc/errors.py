"""The errors a user sees: one line that says what is wrong, where, and what to do.

Every error carries the exit status of the command it ends.
"""

EXIT_DATA = 1
EXIT_USAGE = 2
#: The program itself is at fault: EX_SOFTWARE of sysexits.h.
EXIT_SOFTWARE = 70
#: Stopped on request (signal or wall-time limit) with everything saved: start again to go on.
#: The value is EX_TEMPFAIL of sysexits.h, which no interpreter or MPI launcher uses by itself.
EXIT_STOPPED = 75


class MdganError(Exception):
    """Base of all errors that end a command in one line.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence without a final stop.
    where : str, optional
        File, frame, byte, record or configuration key.
    remedy : str, optional
        What the user can do about it.
    """

    exit_status = EXIT_DATA

    def __init__(self, what: str, *, where: object = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, str(where), remedy
        line = f"{self.where}: {what}" if self.where else what
        super().__init__(f"{line}; {remedy}" if remedy else line)


class UsageError(MdganError):
    """Options, paths or values that the user chose cannot work."""

    exit_status = EXIT_USAGE


class ConfigError(UsageError):
    """A configuration file or an override is wrong."""


class OutputExistsError(UsageError):
    """The output is there already and may not be overwritten."""


class DataError(MdganError):
    """A file does not hold what its kind promises, or what the command needs."""


class TruncatedError(DataError):
    """A file stops before its content is complete."""


class DivergedError(MdganError):
    """A computation left the range where its result means something."""


class LaunchError(MdganError):
    """The parallel launch and the environment contradict each other."""


class StoppedError(MdganError):
    """Ended on request before the work was done; everything so far is saved."""

    exit_status = EXIT_STOPPED


class SignalledInterrupt(KeyboardInterrupt):
    """Ended by a signal: everything is put in order as after a Ctrl-C.

    Parameters
    ----------
    number : int
        The signal.
    """

    def __init__(self, number: int) -> None:
        import signal  # here, since every command loads this module

        self.number, self.exit_status = number, 128 + number
        super().__init__(f"Ended by {signal.Signals(number).name}")


class DataWarning(UserWarning):
    """Something in the data was handled in a way the user should know of."""
