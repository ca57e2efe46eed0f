// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title The contract whose code the rollup runs, called by itself
contract AnnexTest is Fixture {
    IRollup private annex;

    function setUp() public {
        deployWithQueue();
        annex = IRollup(rollup.annex());
    }

    function test_what_is_immutable_is_the_rollups() public view {
        vm.assertEq(annex.domain(), rollup.domain());
        vm.assertEq(annex.k(), rollup.k());
        vm.assertEq(annex.operator(), rollup.operator());
        vm.assertEq(annex.listingFee(), rollup.listingFee());
        vm.assertEq(annex.queueFee(), rollup.queueFee());
        vm.assertEq(annex.forceTimeout(), rollup.forceTimeout());
        vm.assertEq(annex.proveTimeout(), rollup.proveTimeout());
        vm.assertEq(annex.queueRate(), rollup.queueRate());
        vm.assertEq(annex.circuitCount(), rollup.circuitCount());
        vm.assertEq(annex.keys(), rollup.keys());
    }

    function test_nobody_can_do_anything_in_it_or_leave_coins_there() public {
        bytes memory frozen = abi.encodeWithSelector(ILedger.IsFrozen.selector);
        vm.expectRevert(frozen);
        annex.requestExit{value: QUEUE_FEE}(1);
        vm.expectRevert(frozen);
        annex.requestRotation{value: QUEUE_FEE}(1, 9);
        vm.expectRevert(frozen);
        annex.listToken{value: LISTING_FEE}(address(this));
        vm.expectRevert(frozen);
        annex.freeze();
        vm.prank(OPERATOR);
        vm.expectRevert(frozen);
        annex.revertTo(0, proofOf(1).record, 0);
        Exit memory leaves = exitOf(1, 0);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OldCommitmentsMismatch.selector));
        annex.exit(leaves.idx, leaves.dyn, leaves.owner, oldCommitments(1), leaves.opening);
        vm.expectRevert(abi.encodeWithSelector(ILedger.QueueMismatch.selector));
        annex.refund(1, entriesOf(1, 1));
        (bool ok,) = address(annex).call{value: 1}("");
        vm.assertFalse(ok);
        vm.assertEq(address(annex).balance, 0);
    }

    /// @dev A name that neither contract knows reaches nothing.
    function test_unknown_function() public {
        (bool ok,) = address(rollup).call(abi.encodeWithSignature("upgrade(address)", address(this)));
        vm.assertFalse(ok);
        (ok,) = address(rollup).call{value: 1}("");
        vm.assertFalse(ok);
    }
}
