"""The application, above all other rooms: command line, plan of the steps, estimates, status, trace, checks, report."""
