import type { Command } from 'commander';

/** A command that consists of others, such as `client` of `client create`; alone it is wrong usage, told in one line. */
export function addCommandGroup(program: Command, name: string, description: string): Command {
  const group = program
    .command(name)
    .description(description)
    .usage('<command> [options]')
    .argument('[command]')
    .helpCommand(true);
  return group.action((given: string | undefined) => {
    const known = group.commands.map((command) => command.name()).join(', ');
    const fault = given === undefined ? 'wants a command' : `has no command '${given}'`;
    return group.error(`error: ${program.name()} ${name} ${fault}: one of ${known}`);
  });
}
