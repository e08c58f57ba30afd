import os
import rudderstack.analytics as a
a.write_key=os.environ["WRITE_KEY"]; a.dataPlaneUrl=os.environ["HOST_URL"]
failed=[]
a.on_error=lambda e,items: failed.append(e)
a.identify("ana",{"email":"ana@example.com"})
a.track("ana","Order Completed",{"order_id":"Q1","currency":"EUR","subtotal":30.0,"products":[{"product_id":"mug","price":10.0,"quantity":3}]})
a.page("ana",name="Home"); a.group("ana","club",{"plan":"pro"}); a.alias("anon-4","ana")
a.shutdown()
if failed: raise SystemExit(str(failed))
