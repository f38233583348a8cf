"""The panel's styles, as text that stands inside every output: in Colab each output is a document of its own.

Two colours come from the host (JupyterLab's `--jp-*`, Colab's `--colab-*`, VS Code's `--vscode-*`), and every
other is mixed from them: what is mixed towards the text colour is legible on light and on dark. Where the host
says nothing, the system's preference decides. Class selectors in pairs, and neither lists nor headings: hosts
style those inside an output with more weight than one class has.
"""

from __future__ import annotations

STYLE = """<style>
.mk{--mk-text:#1f2328;--mk-page:#fff;
--mk-fg:var(--jp-content-font-color1,var(--colab-primary-text-color,var(--vscode-editor-foreground,var(--mk-text))));
--mk-bg:var(--jp-layout-color1,var(--colab-primary-surface-color,var(--vscode-editor-background,var(--mk-page))));
--mk-dim:color-mix(in srgb,var(--mk-fg) 70%,var(--mk-bg));
--mk-line:color-mix(in srgb,var(--mk-fg) 17%,var(--mk-bg));
--mk-sunk:color-mix(in srgb,var(--mk-fg) 5%,var(--mk-bg));
--mk-run:color-mix(in srgb,#1f75e0 75%,var(--mk-fg));
--mk-ok:color-mix(in srgb,#1a9c44 72%,var(--mk-fg));
--mk-bad:color-mix(in srgb,#e5343f 76%,var(--mk-fg));
--mk-warn:color-mix(in srgb,#b87400 76%,var(--mk-fg));
--mk-state:var(--mk-dim);
--mk-mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
box-sizing:border-box;max-width:860px;margin:2px 0;overflow:hidden;
color:var(--mk-fg);background:var(--mk-bg);
border:1px solid var(--mk-line);border-left:3px solid var(--mk-state);border-radius:6px;
font:13px/20px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;text-align:left}
@media (prefers-color-scheme:dark){.mk{--mk-text:#e6edf3;--mk-page:#0d1117}}
[theme=light] .mk{--mk-text:#1f2328;--mk-page:#fff}
[theme=dark] .mk{--mk-text:#e6edf3;--mk-page:#1e1e1e}
.mk.mk-run{--mk-state:var(--mk-run)}
.mk.mk-ok{--mk-state:var(--mk-ok)}
.mk.mk-warn{--mk-state:var(--mk-warn)}
.mk.mk-bad{--mk-state:var(--mk-bad)}
.mk .mk-head{display:flex;align-items:flex-start;gap:10px;padding:9px 14px 9px 11px}
.mk .mk-sign{flex:none;box-sizing:border-box;width:18px;height:18px;margin-top:1px;border-radius:50%;
background:var(--mk-state);color:var(--mk-bg);font:700 11px/18px var(--mk-mono);text-align:center}
.mk .mk-sign.mk-turns{background:none;border:2.5px solid var(--mk-line);border-top-color:var(--mk-run);
color:transparent;animation:mk-turn 1s linear infinite}
@keyframes mk-turn{to{transform:rotate(360deg)}}
.mk .mk-what{flex:1;min-width:0}
.mk .mk-title{font-weight:600}
.mk .mk-lead{overflow-wrap:anywhere}
.mk .mk-sub{color:var(--mk-dim);overflow-wrap:anywhere}
.mk .mk-sub>span:not(:last-child)::after{content:"\\00a0\\00b7";margin-right:2px}
.mk .mk-time{flex:none;color:var(--mk-dim);font:12px/20px var(--mk-mono);font-variant-numeric:tabular-nums}
.mk .mk-link{color:var(--mk-run);text-decoration:underline;text-underline-offset:2px}
.mk .mk-bar{display:flex;gap:2px;height:5px;margin:0 14px 9px 11px;border-radius:3px;overflow:hidden;
background:color-mix(in srgb,var(--mk-fg) 9%,var(--mk-bg))}
.mk .mk-seg{min-width:2px;background:var(--mk-ok)}
.mk .mk-seg:nth-child(even){opacity:.72}
.mk .mk-seg.mk-run{background:var(--mk-run);opacity:1}
.mk .mk-seg.mk-bad{opacity:1;background:repeating-linear-gradient(135deg,var(--mk-bad) 0 4px,
color-mix(in srgb,var(--mk-bad) 62%,var(--mk-bg)) 4px 7px)}
.mk .mk-seg.mk-rest{background:none;min-width:0}
.mk .mk-seg.mk-open{background:linear-gradient(90deg,var(--mk-run) 35%,
color-mix(in srgb,var(--mk-run) 45%,var(--mk-bg)) 50%,var(--mk-run) 65%) 0 0/200% 100%;
animation:mk-slide 1.6s linear infinite}
@keyframes mk-slide{from{background-position:200% 0}to{background-position:0 0}}
@media (prefers-reduced-motion:reduce){.mk .mk-sign.mk-turns,.mk .mk-seg.mk-open{animation:none}}
.mk .mk-rows{padding:0 14px 8px 11px}
.mk .mk-row{display:grid;grid-template-columns:18px 92px minmax(0,1fr) auto;column-gap:6px;align-items:baseline;
padding:2px 0;min-height:20px}
.mk .mk-mark{font:700 12px/1 var(--mk-mono);text-align:center;color:var(--mk-dim)}
.mk .mk-row.mk-ok>.mk-mark{color:var(--mk-ok)}
.mk .mk-row.mk-run>.mk-mark{color:var(--mk-run)}
.mk .mk-row.mk-bad>.mk-mark{color:var(--mk-bad)}
.mk .mk-row.mk-warn>.mk-mark{color:var(--mk-warn)}
.mk .mk-row.mk-run>.mk-name,.mk .mk-row.mk-bad>.mk-name{font-weight:600}
.mk .mk-row.mk-wait{color:var(--mk-dim)}
.mk .mk-text{color:var(--mk-dim);overflow-wrap:anywhere;unicode-bidi:isolate}
.mk .mk-row.mk-bad>.mk-text,.mk .mk-row.mk-run>.mk-text{color:var(--mk-fg)}
.mk.mk-moves .mk-text{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.mk.mk-moves .mk-lead,.mk.mk-moves .mk-sub{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.mk .mk-layers{margin:0 0 4px 23px;padding-left:9px;border-left:1px solid var(--mk-line)}
.mk .mk-layers .mk-row{grid-template-columns:18px 74px minmax(0,1fr) auto;padding:0;font-size:12px}
.mk .mk-log{box-sizing:border-box;padding:7px 14px 7px 11px;background:var(--mk-sunk);
border-top:1px solid var(--mk-line);color:var(--mk-dim);font:12px/18px var(--mk-mono)}
.mk .mk-logline{overflow:hidden;text-overflow:ellipsis;white-space:pre;min-height:18px;unicode-bidi:isolate}
.mk.mk-moves .mk-log{height:87px;overflow:hidden}
.mk .mk-label{font:600 11px/18px system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--mk-dim)}
.mk .mk-log>.mk-label:only-child{font-weight:400}
.mk .mk-foot{display:flex;flex-wrap:wrap;gap:2px 16px;padding:5px 14px 6px 11px;border-top:1px solid var(--mk-line);
color:var(--mk-dim);font-size:12px;font-variant-numeric:tabular-nums}
.mk .mk-foot .mk-grow{flex:1}
.mk .mk-find{padding:0 14px 4px 11px}
.mk .mk-find+.mk-rows,.mk .mk-find+.mk-bar{margin-top:6px}
.mk .mk-find+.mk-find{border-top:1px solid var(--mk-line);padding-top:9px}
.mk .mk-cause{font-size:14px;font-weight:600;color:var(--mk-state);overflow-wrap:anywhere}
.mk .mk-code{color:var(--mk-dim);font:12px/1.5 var(--mk-mono)}
.mk .mk-src{margin:7px 0;border:1px solid var(--mk-line);border-radius:5px;overflow:hidden}
.mk .mk-from{padding:2px 10px;background:var(--mk-sunk);border-bottom:1px solid var(--mk-line);color:var(--mk-dim);
font-size:12px;overflow-wrap:anywhere}
.mk .mk-line{display:flex;padding:1px 10px;font:12px/18px var(--mk-mono)}
.mk .mk-line:first-of-type{padding-top:4px}
.mk .mk-line:last-child{padding-bottom:4px}
.mk .mk-no{flex:none;min-width:34px;margin-right:10px;text-align:right;color:var(--mk-dim);user-select:none}
.mk .mk-said{min-width:0;white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
.mk .mk-line.mk-hit{background:color-mix(in srgb,var(--mk-bad) 13%,var(--mk-bg));
box-shadow:inset 3px 0 0 var(--mk-bad)}
.mk .mk-note{margin:5px 0;color:var(--mk-dim);overflow-wrap:anywhere}
.mk .mk-fix{margin:7px 0}
.mk .mk-word{font-weight:600}
.mk .mk-fix .mk-word{color:var(--mk-ok)}
.mk .mk-cmd{display:block;margin:3px 0 0;padding:5px 10px;color:var(--mk-fg);background:var(--mk-sunk);
border:1px solid var(--mk-line);border-radius:5px;font:12px/18px var(--mk-mono);
white-space:pre-wrap;overflow-wrap:anywhere;user-select:all}
.mk .mk-more{padding:0 14px 6px 11px}
.mk .mk-more>.mk-sum{cursor:pointer;color:var(--mk-dim);font-size:12px;font-variant-numeric:tabular-nums}
.mk .mk-more .mk-rows{padding:4px 0 2px}
.mk .mk-sum .mk-part{white-space:nowrap;margin-left:12px}
.mk .mk-notes{padding:0 14px 6px 11px}
@media (max-width:480px){
.mk .mk-row{grid-template-columns:18px 76px minmax(0,1fr) auto}
.mk .mk-layers .mk-row{grid-template-columns:18px 64px minmax(0,1fr) auto}
.mk .mk-no{min-width:22px}}
</style>"""
