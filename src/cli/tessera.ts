#!/usr/bin/env node
/**
 * Owns the command line: one file per command, each a thin layer over the domains that the server uses too. Refuses to
 * print a secret twice, to take one as an argument (other processes can read those), and to mix anything into the one
 * JSON value of `--json`.
 */
import { runCommandLine } from './run-command-line.ts';

process.exitCode = await runCommandLine(process.argv.slice(2));
