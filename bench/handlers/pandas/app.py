import numpy
import pandas

frame = pandas.DataFrame({"x": numpy.arange(10)})


def handler(event, context):
    return {"hello": event.get("name", "world"), "sum": int(frame["x"].sum())}
