#!/usr/bin/env python3
"""What the dashboard asks ClickHouse, as the data source would send it: one JSON object a line, {"title", "sql"}.

    queries.py [--from SECONDS] [--to SECONDS] [--workspace NAME] [--customer ID]

Without --workspace the variable stands on All.
"""

import argparse
import json
import os
import re
import sys
import urllib.parse

DASHBOARD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dashboards", "aftersend.json")


def targets():
    """Title and query of everything that asks a data source."""
    with open(DASHBOARD, encoding="utf-8") as file:
        dashboard = json.load(file)
    for panel in dashboard["panels"]:
        for part in [panel, *panel.get("panels", [])]:
            for target in part.get("targets", []):
                yield part["title"], target
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield "variable " + variable["name"], {"rawSql": variable["query"], "datasource": variable["datasource"]}
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield "annotation " + annotation["name"], annotation


def sql(query, start, end, workspace, customer):
    query = re.sub(r"\$__conditionalAll\((.*?), \$\w+\)", r"\1" if workspace else "1=1", query)
    query = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 >= toDateTime({start}) AND \1 <= toDateTime({end})", query)
    query = query.replace("$__fromTime", f"toDateTime({start})").replace("$__toTime", f"toDateTime({end})")
    query = query.replace("${__from:date:seconds}", str(start)).replace("${__to:date:seconds}", str(end))
    query = query.replace("${workspace:singlequote}", quoted(workspace))
    query = query.replace("${customer:percentencode}", urllib.parse.quote(customer, safe=""))
    if "$" in query:
        raise ValueError(f"a macro or variable this script does not know: {query[query.index('$'):][:40]}")
    return query


# As Grafana does, which leaves backslashes as they are. Names of workspaces have none.
def quoted(text):
    return "'" + text.replace("'", "\\'") + "'"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--from", dest="start", type=int, default=86_400 * 30)
    options.add_argument("--to", dest="end", type=int, default=4_000_000_000)
    options.add_argument("--workspace", default="")
    options.add_argument("--customer", default="")
    options = options.parse_args()
    for title, target in targets():
        if "rawSql" in target:
            text = sql(target["rawSql"], options.start, options.end, options.workspace, options.customer)
            json.dump({"title": title, "sql": text}, sys.stdout)
            print()


if __name__ == "__main__":
    main()
