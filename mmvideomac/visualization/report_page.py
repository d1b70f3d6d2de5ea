"""The page of :mod:`mmvideomac.visualization.report`; static, for any screen, light and dark."""

from string import Template

PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root {
  color-scheme: light dark;
  --ink: #1c2430; --soft: #5c6775; --paper: #fff; --card: #f4f6f8; --line: #dde2e8;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa5b3; --paper: #14181d; --card: #1d232b; --line: #303842; }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem; }
p { margin: .75rem 0 .4rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
dl {
  display: grid; gap: .6rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr));
}
dl div { background: var(--card); border-radius: .5rem; padding: .55rem .8rem; }
dt { color: var(--soft); font-size: .8rem; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child { text-align: left; padding-left: 0; font-weight: 600; }
.curves {
  display: grid; gap: 1rem; margin-top: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
}
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: .75rem; }
figure.wide { margin-bottom: 1rem; overflow-x: auto; }
svg, img { display: block; max-width: 100%; height: auto; }
svg { width: 100%; }
img { border-radius: .25rem; }
figcaption { margin-top: .4rem; }
pre {
  background: var(--card); border-radius: .5rem; padding: .7rem .9rem;
  margin: 0 0 .5rem; white-space: pre-wrap; overflow-wrap: anywhere;
}
code { font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 40rem) { figure.wide img { max-width: none; width: 46rem; } }
</style>
</head>
<body>
<h1>$title</h1>
<p class="soft">$date</p>
$facts
<h2>Losses</h2>
$losses
<p class="soft">Smoothed by mmengine's logger. The target network is a moving average of the online
one: its loss follows with a delay, and the consistency loss, which compares the two networks, is
small as long as both predict little.</p>
<div class="curves">$curves</div>
<h2>Reconstructions</h2>
<p class="soft">The same frames and masks before and after. Frame 1 is reconstructed by the online
network, frame 2 by its moving average (the target).</p>
$reconstructions
$propagation
<h2>Data</h2>
$data
<h2>What to do next</h2>
$next_steps
</body>
</html>
""")
