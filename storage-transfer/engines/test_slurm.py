"""Tests of the script `slurm`: python3 -m unittest storage-transfer/engines/test_slurm.py

They take four minutes, most of it until Slurm gives the tasks of a dead node to another one.
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

SLURM = pathlib.Path(__file__).with_name("slurm")
PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


@unittest.skipUnless(shutil.which("slurmctld", path=PATH), "Slurm is not installed")
class Slurm(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="slurm")
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.directory = self.scratch / "cluster"
        self.log = self.scratch / "log"
        self.log.touch()
        self.slurm("up", self.directory)
        self.addCleanup(self.slurm, "down", self.directory)

    def slurm(self, *arguments, code=0):
        run = subprocess.run([SLURM, *map(str, arguments)], capture_output=True, text=True)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout.splitlines()

    def script(self, text):
        """Returns a command that runs a script. `log WORD` writes a line to the log."""
        log = f'log() {{ echo "$1 $SLURM_ARRAY_TASK_ID $SLURMD_NODENAME" >>{self.log}; }}\n'
        return ["sh", "-c", log + text]

    def lines(self):
        return self.log.read_text().splitlines()

    def await_lines(self, number):
        end = time.monotonic() + 60
        while len(self.lines()) < number:
            self.assertLess(time.monotonic(), end, self.lines())
            time.sleep(0.1)

    def test_an_array_runs_on_both_nodes(self):
        printed = self.slurm("run", self.directory, 8, *self.script("log ran; sleep 1"))
        self.assertEqual(len(printed), 8)
        self.assertTrue(all(": COMPLETED, exit code 0:0" in line for line in printed), printed)
        self.assertEqual(sorted(line.split()[1] for line in self.lines()), list("01234567"))
        self.assertEqual({line.split()[2] for line in self.lines()}, {"n1", "n2"})

    def test_a_task_that_fails_fails_the_run(self):
        command = self.script("test $SLURM_ARRAY_TASK_ID != 1 || exit 3")
        printed = self.slurm("run", self.directory, 2, *command, code=1)
        self.assertIn("task 0: COMPLETED, exit code 0:0", printed[0])
        self.assertIn("task 1: FAILED, exit code 3:0", printed[1])

    def test_a_run_that_takes_too_long_is_cancelled(self):
        command = self.script("log began; exec sleep 300")
        printed = self.slurm("run", "--timeout", 5, self.directory, 1, *command, code=1)
        self.assertIn("task 0: CANCELLED", printed[0])

    def test_a_task_that_exits_with_75_runs_again(self):
        command = self.script('log ran; test -n "$SLURM_RESTART_COUNT" || exit 75')
        printed = self.slurm("run", self.directory, 1, *command)
        self.assertIn("task 0: COMPLETED, exit code 0:0", printed[0])
        self.assertIn("restarts 1", printed[0])
        self.assertEqual(len(self.lines()), 2)

    def run_and_kill(self, seconds, *options):
        """Runs two tasks, kills n2 as soon as both have begun, and returns what was printed."""
        command = self.script(f"log began; sleep {seconds}; log ended")
        arguments = [SLURM, "run", str(self.directory), "2", *command]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as run:
            self.await_lines(2)
            self.slurm("kill", *options, self.directory, "n2")
            printed = run.communicate()[0].splitlines()
        self.assertEqual(run.returncode, 0, printed)
        return printed

    def test_the_task_of_a_dead_node_runs_on_the_other_one(self):
        printed = self.run_and_kill(5)
        self.assertIn("task 1: COMPLETED, exit code 0:0, node n1, restarts 1", printed)
        self.assertIn("began 1 n2", self.lines())
        self.assertNotIn("ended 1 n2", self.lines())
        self.assertIn("ended 1 n1", self.lines())
        self.slurm("start", self.directory, "n2")
        self.slurm("run", self.directory, 2, *self.script("log again; sleep 1"))
        self.assertIn("again 1 n2", self.lines())

    def test_the_task_of_a_lost_node_runs_twice_at_once(self):
        self.run_and_kill(60, "--keep-tasks")
        lines = self.lines()
        self.assertLess(lines.index("began 1 n1"), lines.index("ended 1 n2"), lines)

    def test_down_ends_all_processes_and_no_other(self):
        command = self.script("log began; sleep 300")
        with subprocess.Popen([SLURM, "run", self.directory, "1", *command]) as run:
            self.await_lines(1)
            self.slurm("down", self.directory)
            run.kill()
        mark = f"SLURM_TEST_NODE={self.directory}:".encode()
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                environment = pathlib.Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            self.assertNotIn(mark, environment, name)


if __name__ == "__main__":
    unittest.main()
