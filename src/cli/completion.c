/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lodge completion: what a shell needs to complete lodge's command line, written from the tables of
 * flags, so that it knows what lodge accepts and nothing else.
 *
 * What follows a flag is known by the words that --help has for it: "on|off" are words, a value
 * that begins with FILE, PATH or DIR is a file, NAME as an argument is a VM's.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/flags.h"

static const struct flags flags = {
	.verb = "completion",
	.usage = "bash|zsh|fish",
	.intro = "Prints a script for that shell which completes lodge's verbs, flags and the "
		 "names\n"
		 "of virtual machines: source <(lodge completion bash)\n",
	.arguments = 1,
	.argument = "bash|zsh|fish",
};

/* The names of VMs, in a shell's words. */
#define NAMES "lodge ps --all 2>/dev/null | sed '1d;s/ .*//'"

static bool is_file(const char *value)
{
	return !strncmp(value, "FILE", 4) || !strncmp(value, "PATH", 4) ||
	       !strncmp(value, "DIR", 3);
}

/* The words of "auto|kvm|bt[,code=SIZE]", a space between two: what is in brackets or after an '='
 * is the user's to write. False if value is no list of words. */
static bool put_words(FILE *out, const char *value)
{
	bool skip = false;

	if (!strchr(value, '|'))
		return false;
	for (; *value; value++) {
		if (*value == '|') {
			skip = false;
			fputc(' ', out);
		} else if (*value == '[' || skip) {
			skip = true;
		} else {
			fputc(*value, out);
			skip = *value == '=';
		}
	}
	return true;
}

/* A case for each flag that takes a value. */
static void bash_values(FILE *out, const struct flags *f)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct flag *flag = &f->table[i];

		if (!flag->value)
			continue;
		fprintf(out, "\t\t%s) ", flag->name);
		if (is_file(flag->value)) {
			fputs("_lodge_files \"$cur\"; return ;;\n", out);
			continue;
		}
		fputs("_lodge_words \"", out);
		put_words(out, flag->value);
		fputs("\" \"$cur\"; return ;;\n", out);
	}
}

static void bash_verb(FILE *out, const struct verb *verb)
{
	const struct flags *f = verb->flags;

	fprintf(out, "\t%s)\n\t\tcase $flag in\n", verb->name);
	bash_values(out, f);
	fputs("\t\tesac\n\t\twords=\"", out);
	for (size_t i = 0; i < f->count; i++)
		fprintf(out, "%s ", f->table[i].name);
	fputs("--help\"\n", out);
	if (f->arguments) {
		fputs("\t\tcase $cur in -*) ;; *) words=\"", out);
		if (!strcmp(f->argument, "NAME"))
			fputs("$(" NAMES ")", out);
		else if (!strcmp(f->argument, "VERB"))
			fputs("$verbs", out);
		else
			put_words(out, f->argument);
		fputs("\" ;; esac\n", out);
	}
	fputs("\t\t;;\n", out);
}

/* bash makes a word of its own of the '=' in --flag=value. */
static void bash(FILE *out)
{
	const struct verb *verb;

	fputs("# bash completion of lodge, made by: lodge completion bash\n"
	      "_lodge_words() {\n"
	      "\tlocal word\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor word in $1; do\n"
	      "\t\tcase $word in \"$2\"*) COMPREPLY+=(\"$word\") ;; esac\n"
	      "\tdone\n"
	      "\tcase ${COMPREPLY[0]} in *=) compopt -o nospace 2>/dev/null ;; esac\n"
	      "}\n"
	      "_lodge_files() {\n"
	      "\tcompopt -o filenames 2>/dev/null\n"
	      "\tmapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
	      "}\n"
	      "_lodge() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} flag=${COMP_WORDS[COMP_CWORD - 1]}\n"
	      "\tlocal verb=${COMP_WORDS[1]} words= verbs=\"",
	      out);
	for (size_t i = 0; (verb = cli_verb(i)); i++)
		fprintf(out, "%s%s", i ? " " : "", verb->name);
	fputs("\"\n"
	      "\tif [ \"$COMP_CWORD\" -le 1 ]; then\n"
	      "\t\t_lodge_words \"$verbs --help --version\" \"$cur\"\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tcase $cur in =) cur= ;; esac\n"
	      "\tcase $flag in =) flag=${COMP_WORDS[COMP_CWORD - 2]} ;; esac\n"
	      "\tcase $verb in\n",
	      out);
	for (size_t i = 0; (verb = cli_verb(i)); i++)
		bash_verb(out, verb);
	fputs("\tesac\n"
	      "\t_lodge_words \"$words\" \"$cur\"\n"
	      "}\n"
	      "complete -F _lodge lodge\n",
	      out);
}

/* Text between single quotes: each of `special` and the quote itself is made harmless. */
static void put_quoted(FILE *out, const char *text, const char *special, const char *quote)
{
	for (; *text; text++) {
		if (*text == '\'') {
			fputs(quote, out);
			continue;
		}
		if (strchr(special, *text))
			fputc('\\', out);
		fputc(*text, out);
	}
}

#define ZSH_QUOTE    "'\\''"
#define ZSH_SPECIAL  ":[]\\"
#define FISH_QUOTE   "\\'"
#define FISH_SPECIAL "\\"

static void zsh_argument(FILE *out, const char *argument)
{
	fputs(" '1:argument:", out);
	if (!strcmp(argument, "NAME"))
		fputs("_lodge_names", out);
	else if (!strcmp(argument, "VERB"))
		fputs("_lodge_verbs", out);
	else {
		fputc('(', out);
		put_words(out, argument);
		fputc(')', out);
	}
	fputs("'", out);
}

static void zsh_flag(FILE *out, const struct flag *flag)
{
	fprintf(out, " \\\n\t\t\t'%s%s%s[", flag->many ? "*" : "", flag->name,
		flag->value ? "=" : "");
	put_quoted(out, flag->help, ZSH_SPECIAL, ZSH_QUOTE);
	fputc(']', out);
	if (flag->value) {
		fputs(":value:", out);
		if (is_file(flag->value)) {
			fputs("_files", out);
		} else if (strchr(flag->value, '|')) {
			fputc('(', out);
			put_words(out, flag->value);
			fputc(')', out);
		}
	}
	fputc('\'', out);
}

static void zsh(FILE *out)
{
	const struct verb *verb;

	fputs("#compdef lodge\n"
	      "# zsh completion of lodge, made by: lodge completion zsh\n"
	      "_lodge_names() {\n"
	      "\tlocal -a names=(${(f)\"$(" NAMES ")\"})\n"
	      "\tcompadd -a names\n"
	      "}\n"
	      "_lodge_verbs() {\n"
	      "\tlocal -a verbs=(\n",
	      out);
	for (size_t i = 0; (verb = cli_verb(i)); i++) {
		fprintf(out, "\t\t'%s:", verb->name);
		put_quoted(out, verb->summary, ZSH_SPECIAL, ZSH_QUOTE);
		fputs("'\n", out);
	}
	fputs("\t)\n"
	      "\t_describe verb verbs\n"
	      "}\n"
	      "_lodge() {\n"
	      "\tif (( CURRENT == 2 )); then\n"
	      "\t\t_lodge_verbs\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tshift words\n"
	      "\t(( CURRENT-- ))\n"
	      "\tcase ${words[1]} in\n",
	      out);
	for (size_t i = 0; (verb = cli_verb(i)); i++) {
		fprintf(out, "\t%s)\n\t\t_arguments '--help[print this text]'", verb->name);
		for (size_t k = 0; k < verb->flags->count; k++)
			zsh_flag(out, &verb->flags->table[k]);
		if (verb->flags->arguments)
			zsh_argument(out, verb->flags->argument);
		fputs(" ;;\n", out);
	}
	fputs("\tesac\n"
	      "}\n"
	      "if [[ $funcstack[1] == _lodge ]]; then\n"
	      "\t_lodge \"$@\"\n"
	      "else\n"
	      "\tcompdef _lodge lodge\n"
	      "fi\n",
	      out);
}

static void fish_line(FILE *out, const char *verb)
{
	fprintf(out, "complete -c lodge -n '__fish_seen_subcommand_from %s'", verb);
}

static void fish_flag(FILE *out, const char *verb, const struct flag *flag)
{
	fish_line(out, verb);
	fprintf(out, " -l %s -d '", flag->name + 2);
	put_quoted(out, flag->help, FISH_SPECIAL, FISH_QUOTE);
	fputc('\'', out);
	if (flag->value && is_file(flag->value)) {
		fputs(" -r -F", out);
	} else if (flag->value) {
		fputs(" -x", out);
		if (strchr(flag->value, '|')) {
			fputs(" -a '", out);
			put_words(out, flag->value);
			fputc('\'', out);
		}
	}
	fputc('\n', out);
}

static void fish_argument(FILE *out, const struct verb *verb)
{
	const struct verb *other;

	fish_line(out, verb->name);
	fputs(" -a '", out);
	if (!strcmp(verb->flags->argument, "NAME"))
		fputs("(__lodge_names)", out);
	else if (strcmp(verb->flags->argument, "VERB") != 0)
		put_words(out, verb->flags->argument);
	else
		for (size_t i = 0; (other = cli_verb(i)); i++)
			fprintf(out, "%s ", other->name);
	fputs("'\n", out);
}

static void fish(FILE *out)
{
	const struct verb *verb;

	fputs("# fish completion of lodge, made by: lodge completion fish\n"
	      "function __lodge_names\n"
	      "\t" NAMES "\n"
	      "end\n"
	      "complete -c lodge -f\n",
	      out);
	for (size_t i = 0; (verb = cli_verb(i)); i++) {
		fprintf(out, "complete -c lodge -n __fish_use_subcommand -a %s -d '", verb->name);
		put_quoted(out, verb->summary, FISH_SPECIAL, FISH_QUOTE);
		fputs("'\n", out);
		for (size_t k = 0; k < verb->flags->count; k++)
			fish_flag(out, verb->name, &verb->flags->table[k]);
		fish_line(out, verb->name);
		fputs(" -l help -d 'print this text'\n", out);
		if (verb->flags->arguments)
			fish_argument(out, verb);
	}
}

static int completion(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(FILE *out);
	} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
	const char *name;
	int status = flags_parse(&flags, NULL, &name, argc, argv);
	char *text = NULL;
	size_t len;
	FILE *out;

	if (status != FLAGS_GO)
		return status;
	for (size_t i = 0; name && i < sizeof(shells) / sizeof(shells[0]); i++) {
		if (strcmp(name, shells[i].name) != 0)
			continue;
		out = open_memstream(&text, &len);
		if (!out)
			return STATUS_FAILED;
		shells[i].print(out);
		fclose(out);
		status = cli_print(text);
		free(text);
		return status;
	}
	if (name)
		cli_error("completion knows no shell '%s': give bash, zsh or fish", name);
	else
		cli_error("completion wants a shell: give bash, zsh or fish");
	return STATUS_USAGE;
}

const struct verb verb_completion = {"completion", completion,
				     "print a shell's completion of lodge", &flags};
