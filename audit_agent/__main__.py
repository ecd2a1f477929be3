"""`python -m audit_agent` is `audit-agent`."""

from audit_agent.cli import main

main()
