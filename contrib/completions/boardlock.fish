complete --keep-order --exclusive --command boardlock --arguments "(BOARDLOCK_COMPLETE=fish boardlock -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
