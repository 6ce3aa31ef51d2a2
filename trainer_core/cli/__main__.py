"""`python -m trainer_core.cli` is `easel`."""

try:
    from trainer_core.cli import main

    main()
except KeyboardInterrupt:
    # Ctrl+C before there is a command that could handle it.
    raise SystemExit(130) from None
